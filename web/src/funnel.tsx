// The funnel of one query: what each stage read, kept and cost, and the true neighbours it dropped.

import type { Dropped, FunnelAnswer } from "./api";
import { usePage } from "./context";
import { stageColours } from "./stages";

const BAR = 22;
const GAP = 14;
const SHOWN = 4; // of what was dropped; the others unfold

export function Funnel({ answer, collection }: { answer: FunnelAnswer; collection: string }) {
  const { locale, dark } = usePage();
  const { stages, dropped } = answer;
  const colours = stageColours(stages.length, dark);
  return (
    <>
      <Shape stages={stages} />
      <div class="scroll" tabIndex={0} role="region" aria-label={locale.t("funnel")}>
        <table class="stages">
          <caption class="hidden">{locale.t("funnelHint")}</caption>
          <thead>
            <tr>
              <th scope="col">{locale.t("stage")}</th>
              <th scope="col">{locale.t("read")}</th>
              <th scope="col">{locale.t("kept")}</th>
              <th scope="col">{locale.t("bytes")}</th>
              <th scope="col">{locale.t("time")}</th>
            </tr>
          </thead>
          <tbody>
            {stages.map((stage, place) => (
              <tr key={place}>
                <th scope="row">
                  <i class="dot" style={{ background: colours[place] ?? "" }} aria-hidden="true" />
                  <span title={`${locale.t("dims", stage.dims)}, ${locale.t("bits", stage.bits)}`} dir="ltr">
                    {stage.dims}@{stage.bits}
                  </span>
                </th>
                <td>{locale.number(stage.rows_seen)}</td>
                <td>{locale.number(stage.rows_kept)}</td>
                <td>
                  <bdi>{locale.bytes(stage.bytes_read)}</bdi>
                </td>
                <td>
                  <bdi>{locale.microseconds(stage.microseconds)}</bdi>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {dropped.length === 0 ? (
        <p class="dropped none">{locale.t("droppedNone")}</p>
      ) : (
        <div class="dropped">
          <Lost dropped={dropped.slice(0, SHOWN)} colours={colours} collection={collection} />
          {dropped.length > SHOWN && (
            <details>
              <summary>{locale.t("droppedMore", locale.number(dropped.length - SHOWN))}</summary>
              <Lost dropped={dropped.slice(SHOWN)} colours={colours} collection={collection} />
            </details>
          )}
        </div>
      )}
    </>
  );
}

function Lost({ dropped, colours, collection }: { dropped: Dropped[]; colours: string[]; collection: string }) {
  const { locale, openDocument } = usePage();
  return (
    <ul>
      {dropped.map((lost) => (
        <li key={lost.id}>
          <i class="dot" style={{ background: colours[lost.stage] ?? "" }} aria-hidden="true" />
          <span>
            {locale.t("droppedHere", locale.number(lost.stage + 1))}{" "}
            <button type="button" class="link" onClick={() => openDocument(collection, lost.id)}>
              <bdi>{lost.title || lost.id}</bdi>
            </button>{" "}
            <span class="dim">{locale.t("droppedRank", locale.number(lost.rank))}</span>
          </span>
        </li>
      ))}
    </ul>
  );
}

// The silhouette: a bar a stage, its rows read in pale and its rows kept in full colour.
function Shape({ stages }: { stages: FunnelAnswer["stages"] }) {
  const { locale } = usePage();
  const most = Math.log10(1 + Math.max(...stages.map((stage) => stage.rows_seen), 1));
  const width = (rows: number): number => (rows <= 0 ? 0 : Math.max(1, (100 * Math.log10(1 + rows)) / most));
  const height = stages.length * (BAR + GAP) - GAP;
  return (
    <figure class="shape" aria-hidden="true">
      <div class="drawing" dir="ltr">
        <svg viewBox={`0 0 100 ${height}`} preserveAspectRatio="none" style={{ height: `${height}px` }}>
          {stages.map((stage, place) => {
            const y = place * (BAR + GAP);
            const read = width(stage.rows_seen);
            const kept = width(stage.rows_kept);
            const next = stages[place + 1];
            const after = next ? width(next.rows_seen) : 0;
            return (
              <g key={place}>
                <rect class="read" x={50 - read / 2} y={y} width={read} height={BAR} />
                <rect class="kept" x={50 - kept / 2} y={y} width={kept} height={BAR} />
                {next && (
                  <polygon
                    class="flow"
                    points={`${50 - kept / 2},${y + BAR} ${50 + kept / 2},${y + BAR} ${50 + after / 2},${y + BAR + GAP} ${50 - after / 2},${y + BAR + GAP}`}
                  />
                )}
              </g>
            );
          })}
        </svg>
        {stages.map((stage, place) => (
          <span key={place} style={{ top: `${place * (BAR + GAP)}px`, height: `${BAR}px`, lineHeight: `${BAR}px` }}>
            {locale.number(stage.rows_seen)} → {locale.number(stage.rows_kept)}
          </span>
        ))}
      </div>
      <figcaption>
        <span>
          <i class="swatch read" /> {locale.t("read")}
        </span>
        <span>
          <i class="swatch kept" /> {locale.t("kept")}
        </span>
        <span class="dim">{locale.t("logScale")}</span>
      </figcaption>
    </figure>
  );
}
