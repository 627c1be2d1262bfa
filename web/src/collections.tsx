// The view of all collections: what each holds, and how it is searched.

import type { CollectionInfo } from "./api";
import { usePage } from "./context";
import { Empty } from "./notice";
import type { Place } from "./place";

export function CollectionsView({
  collections,
  go,
}: {
  collections: CollectionInfo[];
  go: (change: Partial<Place>) => void;
}) {
  const { locale } = usePage();
  return (
    <>
      <header class="head">
        <h1>{locale.t("collections")}</h1>
        <span class="dim">{locale.count("collections", collections.length)}</span>
      </header>
      {collections.length === 0 && <NoCollections />}
      <ul class="grid">
        {collections.map((one) => (
          <li key={one.name} class="card">
            <h2>
              <bdi>{one.name}</bdi>
            </h2>
            <p class="dim">
              {locale.count("documents", one.documents)} · {locale.count("passages", one.passages)}
            </p>
            <dl class="facts">
              <div>
                <dt>{locale.t("model")}</dt>
                <dd>
                  <bdi>{one.encoder?.name ?? locale.t("noModel")}</bdi>
                </dd>
              </div>
              <div>
                <dt>{locale.t("dim")}</dt>
                <dd>
                  <bdi>
                    {locale.number(one.dim)} ({one.metric})
                  </bdi>
                </dd>
              </div>
              <div class="wide">
                <dt>{locale.t("funnel")}</dt>
                <dd>
                  <code dir="ltr">{one.funnel}</code>
                </dd>
              </div>
              <div class="wide">
                <dt>{locale.t("declared")}</dt>
                <dd>{one.fields.length ? one.fields.join(", ") : locale.t("none")}</dd>
              </div>
              <div>
                <dt>{locale.t("memory")}</dt>
                <dd>
                  <bdi>{locale.bytes(sum(one.memory))}</bdi>
                </dd>
              </div>
              <div>
                <dt>{locale.t("disk")}</dt>
                <dd>
                  <bdi>{locale.bytes(one.disk)}</bdi>
                </dd>
              </div>
            </dl>
            <p class="actions">
              <button
                type="button"
                class="primary"
                aria-label={locale.t("open", one.name)}
                onClick={() => go({ view: "search", collection: one.name, where: {} })}
              >
                {locale.t("search")}
              </button>
              <button
                type="button"
                class="quiet"
                aria-label={locale.t("browseIn", one.name)}
                onClick={() => go({ view: "documents", collection: one.name, where: {} })}
              >
                {locale.t("browse")}
              </button>
            </p>
          </li>
        ))}
      </ul>
    </>
  );
}

export const sum = (memory: Record<string, number>): number =>
  Object.values(memory).reduce((total, bytes) => total + bytes, 0);

export function NoCollections() {
  const { locale } = usePage();
  return (
    <Empty title={locale.t("noCollections")}>
      <p>{locale.t("noCollectionsHint")}</p>
      <pre dir="ltr">nestling index FOLDER articles</pre>
    </Empty>
  );
}
