// Dialogs: a document with its passage, and the field for an API key.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { apiKey, documentOf, setApiKey } from "./api";
import { usePage } from "./context";
import { MetadataList } from "./metadata";
import { Answer } from "./notice";
import { useRequest } from "./request";
import { pieces } from "./text";

function Dialog({
  title,
  onClose,
  children,
  kind,
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  kind: string;
}) {
  const { locale } = usePage();
  const dialog = useRef<HTMLDialogElement>(null);
  const shown = useRef(true);
  useEffect(() => {
    const node = dialog.current;
    if (node && !node.open) node.showModal();
    return () => {
      // Closing tells `onClose` later, when another dialog may be open already.
      shown.current = false;
      node?.close();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={kind}
      aria-labelledby={`${kind}-title`}
      onClose={() => {
        if (shown.current) onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <div class="sheet">
        <header>
          <h2 id={`${kind}-title`} dir="auto">
            {title}
          </h2>
          <button type="button" class="icon" onClick={onClose} aria-label={locale.t("close")} title={locale.t("close")}>
            <svg viewBox="0 0 20 20" aria-hidden="true">
              <path d="M5 5l10 10M15 5L5 15" />
            </svg>
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

export interface Opened {
  collection: string;
  id: string;
  span?: readonly [number, number];
}

export function DocumentDialog({ opened, onClose }: { opened: Opened; onClose: () => void }) {
  const { locale } = usePage();
  const passage = useRef<HTMLElement>(null);
  const request = useRequest(
    (signal) => documentOf(opened.collection, opened.id, signal),
    [opened.collection, opened.id],
  );
  const document = request.value;
  useEffect(() => {
    passage.current?.scrollIntoView({ block: "center" });
  }, [document]);
  return (
    <Dialog kind="reader" title={document?.title || opened.id} onClose={onClose}>
      <Answer request={request} lines={2}>
        {(found) => (
          <div class="body" tabIndex={0} role="region" aria-label={locale.t("documents")}>
            <p class="dim">
              <code dir="auto">{found.id}</code>
            </p>
            <MetadataList metadata={found.metadata} />
            <div class="prose" dir="auto">
              {pieces(found.text, opened.span ? [opened.span] : []).map((piece, place) =>
                piece.marked ? (
                  <mark key={place} class="passage" ref={passage}>
                    {piece.text}
                  </mark>
                ) : (
                  piece.text
                ),
              )}
            </div>
          </div>
        )}
      </Answer>
    </Dialog>
  );
}

export function KeyDialog({ wrong, onDone }: { wrong: boolean; onDone: (changed: boolean) => void }) {
  const { locale } = usePage();
  const [key, setKey] = useState("");
  return (
    <Dialog kind="key" title={locale.t("keyTitle")} onClose={() => onDone(false)}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          setApiKey(key.trim());
          onDone(true);
        }}
      >
        <p id="key-hint" class="dim">
          {locale.t("keyHint")}
        </p>
        {wrong && (
          <p id="key-wrong" class="wrong" role="alert">
            {locale.t("keyWrong")}
          </p>
        )}
        <label for="key-field">{locale.t("keyLabel")}</label>
        <input
          id="key-field"
          type="password"
          autocomplete="off"
          spellcheck={false}
          dir="ltr"
          required
          autofocus
          value={key}
          aria-describedby="key-hint"
          aria-invalid={wrong}
          onInput={(event) => setKey(event.currentTarget.value)}
        />
        <div class="actions">
          <button type="submit" class="primary">
            {locale.t("keyUse")}
          </button>
          {apiKey() && (
            <button
              type="button"
              class="quiet"
              onClick={() => {
                setApiKey("");
                onDone(true);
              }}
            >
              {locale.t("keyForget")}
            </button>
          )}
        </div>
      </form>
    </Dialog>
  );
}
