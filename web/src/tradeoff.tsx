// Recall against latency of the funnels tried for one query: two sliders and a chart.

import { useEffect, useRef, useState } from "preact/hooks";

import type { FunnelAnswer } from "./api";
import { usePage } from "./context";
import { firstKeep, scaledFunnel } from "./funnels";

export interface Choice {
  // Power of two that all keeps are multiplied by.
  power: number;
  // Cells to probe; null as stored, 0 for all rows.
  probes: number | null;
}

export interface Trial extends Choice {
  keep: number;
  recall: number;
  latency: number;
}

export const USUAL: Choice = { power: 0, probes: null };
export const MIN_POWER = -6;
export const MAX_POWER = 4;

export const funnelOf = (stored: string, choice: Choice, k: number): string | undefined =>
  choice.power === 0 ? undefined : scaledFunnel(stored, 2 ** choice.power, k);

export const same = (a: Choice, b: Choice): boolean => a.power === b.power && a.probes === b.probes;

// Positions of the slider of probes: powers of two up to the cells, then all rows.
function probePositions(cells: number): number[] {
  const positions = [];
  for (let probes = 1; probes < cells; probes *= 2) positions.push(probes);
  return [...positions, cells, 0];
}

export function Tradeoff({
  answer,
  stored,
  k,
  choice,
  trials,
  onChoose,
  onTry,
}: {
  answer: FunnelAnswer;
  stored: string;
  k: number;
  choice: Choice;
  trials: Trial[];
  onChoose: (choice: Choice) => void;
  onTry: (choice: Choice, signal: AbortSignal) => Promise<void>;
}) {
  const { locale } = usePage();
  const [drawing, setDrawing] = useState(false);
  const control = useRef<AbortController | null>(null);
  useEffect(() => () => control.current?.abort(), []);

  const keep = firstKeep(scaledFunnel(stored, 2 ** choice.power, k));
  const positions = probePositions(answer.cells);
  const probePlace = choice.probes === null ? -1 : positions.indexOf(choice.probes);
  const hasKeeps = firstKeep(stored) > 0;
  const probesText =
    choice.probes === null
      ? locale.t("usual")
      : locale.number(choice.probes === 0 ? answer.cells : choice.probes);

  async function sweep(): Promise<void> {
    control.current?.abort();
    const mine = new AbortController();
    control.current = mine;
    setDrawing(true);
    try {
      const tried = new Set([scaledFunnel(stored, 1, k)]);
      for (let power = MAX_POWER; power >= MIN_POWER; power -= 1) {
        if (mine.signal.aborted) return;
        const funnel = scaledFunnel(stored, 2 ** power, k);
        if (!tried.has(funnel)) await onTry({ power, probes: choice.probes }, mine.signal);
        tried.add(funnel);
      }
      if (answer.cells > 0) {
        for (const probes of positions) {
          if (mine.signal.aborted) return;
          await onTry({ power: choice.power, probes }, mine.signal);
        }
      }
    } catch {
      // the request that failed is shown where it was made, or was aborted
    } finally {
      if (control.current === mine) setDrawing(false);
    }
  }

  return (
    <>
      <p class="figures">
        <span>
          <strong>{locale.number(answer.recall, 2)}</strong> {locale.t("recallAt", locale.number(k))}
        </span>
        <span>
          <strong>
            <bdi>{locale.microseconds(answer.latency_ms * 1000)}</bdi>
          </strong>{" "}
          {locale.t("latency")}
        </span>
      </p>
      <Chart trials={trials} choice={choice} />
      <div class="sliders">
        {hasKeeps && (
          <div>
            <label for="keeps">{locale.t("keeps")}</label>
            <output for="keeps">{locale.number(keep)}</output>
            <input
              id="keeps"
              type="range"
              min={MIN_POWER}
              max={MAX_POWER}
              step={1}
              value={choice.power}
              aria-valuetext={locale.number(keep)}
              onInput={(event) => onChoose({ ...choice, power: Number(event.currentTarget.value) })}
            />
          </div>
        )}
        {answer.cells > 0 && (
          <div>
            <label for="probes">{locale.t("probes", locale.number(answer.cells))}</label>
            <output for="probes">{probesText}</output>
            <input
              id="probes"
              type="range"
              min={-1}
              max={positions.length - 1}
              step={1}
              value={probePlace}
              aria-valuetext={probesText}
              onInput={(event) => {
                const place = Number(event.currentTarget.value);
                onChoose({ ...choice, probes: place < 0 ? null : (positions[place] ?? null) });
              }}
            />
          </div>
        )}
      </div>
      <div class="actions">
        <button type="button" class="quiet" onClick={() => void sweep()} disabled={drawing || !hasKeeps}>
          {locale.t(drawing ? "sweeping" : "sweep")}
        </button>
        {!same(choice, USUAL) && (
          <button type="button" class="quiet" onClick={() => onChoose(USUAL)}>
            {locale.t("reset")}
          </button>
        )}
      </div>
    </>
  );
}

const WIDTH = 360;
const HEIGHT = 190;
const LEFT = 40;
const RIGHT = 14;
const TOP = 14;
const BOTTOM = 34;

function Chart({ trials, choice }: { trials: Trial[]; choice: Choice }) {
  const { locale } = usePage();
  const latencies = trials.map((trial) => Math.max(trial.latency, 1e-3));
  const low = Math.min(...latencies, Infinity);
  const high = Math.max(...latencies, 0);
  const from = Math.log10(Number.isFinite(low) ? low / 2.5 : 0.05);
  const to = Math.log10(high > 0 ? high * 2.5 : 5);
  const floor = Math.min(0.9, ...trials.map((trial) => Math.floor(trial.recall * 10) / 10));
  const x = (latency: number): number =>
    LEFT + ((Math.log10(Math.max(latency, 1e-3)) - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
  const y = (recall: number): number => TOP + ((1 - recall) / (1 - floor || 1)) * (HEIGHT - TOP - BOTTOM);
  const ticks = [floor, (1 + floor) / 2, 1];
  const times = ticksBetween(from, to);
  const frontier = best(trials);
  return (
    <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={describe()}>
      {ticks.map((tick) => (
        <g key={tick} class="tick">
          <line x1={LEFT} x2={WIDTH - RIGHT} y1={y(tick)} y2={y(tick)} />
          <text x={LEFT - 7} y={y(tick) + 4} text-anchor="end">
            {locale.number(tick, 2)}
          </text>
        </g>
      ))}
      {times.map((time) => (
        <g key={time} class="tick">
          <line x1={x(time)} x2={x(time)} y1={HEIGHT - BOTTOM} y2={HEIGHT - BOTTOM + 4} />
          <text x={x(time)} y={HEIGHT - BOTTOM + 16} text-anchor="middle">
            {time}
          </text>
        </g>
      ))}
      <text class="axis" x={WIDTH - RIGHT} y={HEIGHT - 4} text-anchor="end">
        {`${locale.t("latency")} (ms)`}
      </text>
      <text class="axis" x={LEFT} y={HEIGHT - 4} text-anchor="start">
        {`↑ ${locale.t("recall")}`}
      </text>
      {frontier.length > 1 && (
        <polyline class="frontier" points={frontier.map((trial) => `${x(trial.latency)},${y(trial.recall)}`).join(" ")} />
      )}
      {trials.map((trial) => {
        const now = same(trial, choice);
        return (
          <circle
            key={`${trial.power} ${trial.probes}`}
            class={now ? "trial now" : "trial"}
            cx={x(trial.latency)}
            cy={y(trial.recall)}
            r={now ? 6 : 4}
          />
        );
      })}
    </svg>
  );

  function describe(): string {
    const points = trials.map(
      (trial) => `${locale.t("recall")} ${locale.number(trial.recall, 2)}, ${locale.number(trial.latency, 2)} ms`,
    );
    return `${locale.t("chartLabel")}. ${points.join("; ")}`;
  }
}

// Round times between two powers of ten: 0.1, 0.2, 0.5, 1 …
function ticksBetween(from: number, to: number): number[] {
  const found = [];
  for (let power = Math.floor(from); power <= Math.ceil(to); power += 1) {
    for (const step of [1, 2, 5]) {
      const time = Number((step * 10 ** power).toPrecision(1));
      if (Math.log10(time) >= from && Math.log10(time) <= to) found.push(time);
    }
  }
  return found.length > 6 ? found.filter((_, place) => place % 2 === 0) : found;
}

// The trials that no other beats in both, by latency.
function best(trials: Trial[]): Trial[] {
  const sorted = [...trials].sort((a, b) => a.latency - b.latency || b.recall - a.recall);
  let most = -1;
  return sorted.filter((trial) => {
    if (trial.recall <= most) return false;
    most = trial.recall;
    return true;
  });
}
