// The view for browsing: the documents of a collection, page by page, with the same filters.

import { useEffect, useState } from "preact/hooks";

import * as api from "./api";
import type { CollectionInfo, StoredDocument } from "./api";
import { usePage } from "./context";
import { Filters } from "./filters";
import { MetadataList } from "./metadata";
import { Answer, Empty } from "./notice";
import type { Place } from "./place";
import { useRequest } from "./request";
import { EmptyCollection } from "./search";
import { shortened } from "./text";

const PAGE = 20;

export function DocumentsView({
  info,
  collections,
  place,
  go,
}: {
  info: CollectionInfo;
  collections: CollectionInfo[];
  place: Place;
  go: (change: Partial<Place>) => void;
}) {
  const { locale, openDocument } = usePage();
  const where = Object.keys(place.where).length ? place.where : undefined;
  const subject = JSON.stringify([info.name, place.where]);
  const fields = useRequest((signal) => api.fields(info.name, signal), [info.name]);
  const [after, setAfter] = useState<string | null>(null);
  const [earlier, setEarlier] = useState<StoredDocument[]>([]);
  const page = useRequest((signal) => api.documents(info.name, PAGE, after, where, signal), [subject, after]);
  useEffect(() => {
    setAfter(null);
    setEarlier([]);
  }, [subject]);

  return (
    <>
      <header class="head">
        <h1>{locale.t("documents")}</h1>
        <span class="dim">{locale.count("documents", info.documents)}</span>
      </header>
      <div class="options">
        <label class="pick">
          <span>{locale.t("collection")}</span>
          <select value={info.name} onChange={(event) => go({ collection: event.currentTarget.value, where: {} })}>
            {collections.map((one) => (
              <option key={one.name} value={one.name}>
                {one.name}
              </option>
            ))}
          </select>
        </label>
        <Filters fields={fields.value ?? []} where={place.where} onChange={(next) => go({ where: next })} />
      </div>
      <Answer request={page} lines={6}>
        {(found) => {
          const all = [...earlier, ...found.documents];
          if (all.length === 0) {
            return info.documents === 0 ? (
              <EmptyCollection name={info.name} />
            ) : (
              <Empty title={locale.t("noHits")}>
                <p>{locale.t("noHitsHint")}</p>
              </Empty>
            );
          }
          return (
            <>
              <ul class="documents" aria-busy={page.running}>
                {all.map((one) => (
                  <li key={one.id}>
                    <h2 dir="auto">
                      <button
                        type="button"
                        class="title"
                        data-hit
                        aria-haspopup="dialog"
                        onClick={() => openDocument(info.name, one.id)}
                      >
                        {one.title || one.id}
                      </button>
                    </h2>
                    <p class="passage" dir="auto">
                      {shortened(one.text, 240)}
                    </p>
                    <MetadataList metadata={one.metadata} most={6} />
                  </li>
                ))}
              </ul>
              <p class="actions">
                {found.next === null ? (
                  <span class="dim">{locale.t("allShown")}</span>
                ) : (
                  <button
                    type="button"
                    class="quiet"
                    disabled={page.running}
                    onClick={() => {
                      setEarlier(all);
                      setAfter(found.next);
                    }}
                  >
                    {locale.t("more")}
                  </button>
                )}
              </p>
            </>
          );
        }}
      </Answer>
    </>
  );
}
