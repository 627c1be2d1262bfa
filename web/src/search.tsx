// The view for searching: the form, the hits, and beside them the funnel.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";

import * as api from "./api";
import type { CollectionInfo, Field, FunnelAnswer, Mode } from "./api";
import { usePage } from "./context";
import { Filters } from "./filters";
import { Funnel } from "./funnel";
import { firstKeep, scaledFunnel } from "./funnels";
import { Hits } from "./hits";
import { SurvivorMap } from "./map";
import { Answer, Empty } from "./notice";
import { COUNTS, type Place } from "./place";
import { useRequest } from "./request";
import { type Choice, funnelOf, same, Tradeoff, type Trial, USUAL } from "./tradeoff";

const MODES: readonly Mode[] = ["dense", "lexical", "hybrid"];
const POINTS = 1000;
const TYPING_MS = 350;
const SLIDING_MS = 120;

export function SearchView({
  info,
  collections,
  place,
  go,
}: {
  info: CollectionInfo;
  collections: CollectionInfo[];
  place: Place;
  go: (change: Partial<Place>, replace?: boolean) => void;
}) {
  const { locale } = usePage();
  const [typed, setTyped] = useState(place.query);
  const typing = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  // What is typed stays as it is, spaces at its end too; another address replaces it.
  useEffect(() => setTyped((now) => (now.trim() === place.query ? now : place.query)), [place.query]);
  useEffect(() => () => clearTimeout(typing.current), []);

  const { query, mode, k, where } = place;
  const filter = Object.keys(where).length ? where : undefined;
  const filterText = JSON.stringify(where);
  const wanted = query.trim();
  const hits = useRequest(
    wanted
      ? (signal) => api.search(info.name, { query: wanted, k, mode, ...(filter && { where: filter }) }, signal)
      : null,
    [info.name, wanted, k, mode, filterText],
  );
  const fields = useRequest<Field[]>((signal) => api.fields(info.name, signal), [info.name]);

  const submit = (text: string): void => {
    clearTimeout(typing.current);
    go({ query: text.trim() });
  };

  return (
    <>
      <h1 class="hidden">{locale.t("search")}</h1>
      <form
        class="ask"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          submit(typed);
        }}
      >
        <div class="box">
          <svg class="lens" viewBox="0 0 20 20" aria-hidden="true">
            <circle cx="9" cy="9" r="5.5" />
            <path d="M13.2 13.2L17 17" />
          </svg>
          <label for="query" class="hidden">
            {locale.t("queryLabel")}
          </label>
          <input
            id="query"
            type="search"
            dir="auto"
            autocomplete="off"
            enterkeyhint="search"
            placeholder={locale.t("placeholder")}
            aria-describedby="shortcut"
            value={typed}
            onInput={(event) => {
              const text = event.currentTarget.value;
              setTyped(text);
              clearTimeout(typing.current);
              typing.current = setTimeout(() => go({ query: text.trim() }, true), TYPING_MS);
            }}
          />
          <kbd aria-hidden="true">/</kbd>
          <button type="submit" class="primary">
            {locale.t("search")}
          </button>
        </div>
        <div class="options">
          <label class="pick">
            <span>{locale.t("collection")}</span>
            <select
              value={info.name}
              onChange={(event) => go({ collection: event.currentTarget.value, where: {} })}
            >
              {collections.map((one) => (
                <option key={one.name} value={one.name}>
                  {one.name}
                </option>
              ))}
            </select>
          </label>
          <fieldset class="segments">
            <legend class="hidden">{locale.t("mode")}</legend>
            {MODES.map((one) => (
              <label key={one}>
                <input type="radio" name="mode" value={one} checked={mode === one} onChange={() => go({ mode: one })} />
                <span>{locale.t(one)}</span>
              </label>
            ))}
          </fieldset>
          <label class="pick">
            <span>{locale.t("hits")}</span>
            <select
              value={String(k)}
              aria-label={locale.t("number")}
              onChange={(event) => go({ k: Number(event.currentTarget.value) })}
            >
              {COUNTS.map((count) => (
                <option key={count} value={String(count)}>
                  {locale.number(count)}
                </option>
              ))}
            </select>
          </label>
          <Filters fields={fields.value ?? []} where={where} onChange={(next) => go({ where: next })} />
        </div>
        <p id="shortcut" class="hint">
          {locale.t("shortcut")}
        </p>
      </form>
      <div class="columns">
        <section class="results" aria-label={locale.t("hits")} id="results" tabIndex={-1}>
          <h2 class="hidden">{locale.t("hits")}</h2>
          <p class="count" role="status" aria-live="polite">
            {!wanted ? "" : hits.running ? locale.t("searching") : hits.value ? locale.count("hits", hits.value.length) : ""}
          </p>
          {wanted ? (
            <div class={hits.running && hits.value ? "stale" : ""} aria-busy={hits.running}>
              <Answer request={hits} lines={5}>
                {(found) =>
                  found.length ? (
                    <Hits collection={info.name} hits={found} />
                  ) : info.documents === 0 ? (
                    <EmptyCollection name={info.name} />
                  ) : (
                    <Empty title={locale.t("noHits")}>
                      <p>{locale.t("noHitsHint")}</p>
                    </Empty>
                  )
                }
              </Answer>
            </div>
          ) : info.documents === 0 ? (
            <EmptyCollection name={info.name} />
          ) : (
            <Empty title={locale.t("welcome")}>
              <p>{locale.t("welcomeHint", locale.count("documents", info.documents))}</p>
            </Empty>
          )}
        </section>
        <aside aria-label={locale.t("funnel")}>
          <FunnelPanel
            info={info}
            query={wanted}
            mode={mode}
            k={k}
            filter={filter}
            waiting={hits.running || hits.error !== null || (hits.value?.length ?? 0) === 0}
          />
        </aside>
      </div>
    </>
  );
}

export function EmptyCollection({ name }: { name: string }) {
  const { locale } = usePage();
  return (
    <Empty title={locale.t("emptyCollection")}>
      <p>{locale.t("emptyCollectionHint")}</p>
      <pre dir="ltr">nestling add {name} documents.jsonl</pre>
    </Empty>
  );
}

function FunnelPanel({
  info,
  query,
  mode,
  k,
  filter,
  waiting,
}: {
  info: CollectionInfo;
  query: string;
  mode: Mode;
  k: number;
  filter: api.Where | undefined;
  waiting: boolean;
}) {
  const { locale } = usePage();
  const [choice, setChoice] = useState<Choice>(USUAL);
  const [trials, setTrials] = useState<Trial[]>([]);
  const subject = JSON.stringify([info.name, query, k, filter]);
  const settled = useSettled(choice, SLIDING_MS);
  const fits = query !== "" && mode !== "lexical" && info.documents > 0;

  const requestOf = useCallback(
    (one: Choice) => {
      const funnel = funnelOf(info.funnel, one, k);
      return {
        query,
        k,
        ...(filter && { where: filter }),
        ...(funnel !== undefined && { funnel }),
        ...(one.probes !== null && { probes: one.probes }),
      };
    },
    [subject, info.funnel],
  );
  const answer = useRequest<FunnelAnswer>(
    fits && !waiting ? (signal) => api.funnel(info.name, requestOf(settled), POINTS, signal) : null,
    [fits && !waiting, subject, settled],
  );

  const remember = useCallback(
    (one: Choice, found: FunnelAnswer) => {
      const keep = firstKeep(scaledFunnel(info.funnel, 2 ** one.power, k));
      const trial = { ...one, keep, recall: found.recall, latency: found.latency_ms };
      setTrials((before) => [...before.filter((other) => !same(other, one)), trial]);
    },
    [info.funnel, k],
  );
  useEffect(() => {
    setTrials([]);
    setChoice(USUAL);
  }, [subject]);
  useEffect(() => {
    if (answer.value) remember(settled, answer.value);
  }, [answer.value]);

  const attempt = useCallback(
    async (one: Choice, signal: AbortSignal) => {
      const found = await api.funnel(info.name, requestOf(one), 0, signal);
      if (!signal.aborted) remember(one, found);
    },
    [requestOf, remember],
  );
  const shown = useMemo(() => (fits ? answer : { ...answer, value: null, running: false, error: null }), [answer, fits]);

  if (!fits) {
    return (
      <div class="card">
        <h2>{locale.t("funnel")}</h2>
        <p class="dim">{locale.t(query && mode === "lexical" ? "funnelWords" : "funnelNone")}</p>
      </div>
    );
  }
  return (
    <div class={answer.running && answer.value ? "stale" : ""} aria-busy={answer.running}>
      <div class="card">
        <h2>{locale.t("funnel")}</h2>
        <p class="dim">{locale.t("funnelHint")}</p>
        <Answer request={shown} lines={3}>
          {(found) => <Funnel answer={found} collection={info.name} />}
        </Answer>
      </div>
      {answer.value && (
        <>
          <div class="card">
            <h2>{locale.t("tradeoff")}</h2>
            <p class="dim">{locale.t("tradeoffHint")}</p>
            <Tradeoff
              key={subject}
              answer={answer.value}
              stored={info.funnel}
              k={k}
              choice={choice}
              trials={trials}
              onChoose={setChoice}
              onTry={attempt}
            />
          </div>
          {answer.value.points.x.length > 0 && (
            <div class="card">
              <h2>{locale.t("map")}</h2>
              <p class="dim">{locale.t("mapHint")}</p>
              <SurvivorMap answer={answer.value} collection={info.name} />
            </div>
          )}
        </>
      )}
    </div>
  );
}

// The value, once it has not changed for a moment.
function useSettled<T>(value: T, milliseconds: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return settled;
}
