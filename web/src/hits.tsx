// The hits of a search: title, passage with highlights, metadata, and how each was ranked.

import type { Hit } from "./api";
import { usePage } from "./context";
import { MetadataList } from "./metadata";
import { pieces } from "./text";

// "#3", which stays so in a line of Arabic.
const isolated = (rank: number): string => `\u2066#${rank}\u2069`;

export function Hits({ collection, hits }: { collection: string; hits: Hit[] }) {
  const { locale, openDocument } = usePage();
  const best = Math.max(...hits.map((hit) => Math.abs(hit.score)), 1e-9);
  return (
    <ol class="hits">
      {hits.map((hit, place) => {
        const span = hit.start != null && hit.end != null ? ([hit.start, hit.end] as const) : undefined;
        const title = hit.title || hit.id;
        return (
          <li key={hit.id}>
            <article aria-labelledby={`hit-${place}`}>
              <header>
                <span class="place" aria-hidden="true">
                  {locale.number(place + 1)}
                </span>
                <h3 id={`hit-${place}`} dir="auto">
                  <button
                    type="button"
                    class="title"
                    data-hit={place}
                    aria-haspopup="dialog"
                    title={locale.t("show")}
                    onClick={() => openDocument(collection, hit.id, span)}
                  >
                    {title}
                  </button>
                </h3>
                <span class="score" title={`${locale.t("score")} ${hit.score}`}>
                  <span class="gauge" aria-hidden="true">
                    <i style={{ inlineSize: `${(100 * Math.max(0, hit.score)) / best}%` }} />
                  </span>
                  <span class="hidden">{locale.t("score")} </span>
                  {locale.number(hit.score, 3)}
                </span>
              </header>
              {hit.text != null && (
                <p class="passage" dir="auto">
                  {pieces(hit.text, hit.highlights ?? []).map((piece, at) =>
                    piece.marked ? <mark key={at}>{piece.text}</mark> : piece.text,
                  )}
                </p>
              )}
              <footer>
                <MetadataList metadata={hit.metadata} most={6} />
                {(hit.dense || hit.lexical) && (
                  <span class="ranks">
                    {hit.dense && <span>{locale.t("rankDense", isolated(hit.dense.rank))}</span>}
                    {hit.lexical && <span>{locale.t("rankLexical", isolated(hit.lexical.rank))}</span>}
                  </span>
                )}
              </footer>
            </article>
          </li>
        );
      })}
    </ol>
  );
}

// Moves the focus between hits; returns whether it did.
export function moveBetweenHits(step: number): boolean {
  const buttons = [...document.querySelectorAll<HTMLElement>("[data-hit]")];
  if (buttons.length === 0) return false;
  const at = buttons.findIndex((button) => button === document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : -1) : at + step;
  if (next < 0) document.querySelector<HTMLElement>("#query")?.focus();
  else buttons[Math.min(next, buttons.length - 1)]?.focus();
  return true;
}
