// The page: its head, the view that the address names, and the dialogs over it.

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";

import * as api from "./api";
import { apiKey } from "./api";
import { CollectionsView, NoCollections } from "./collections";
import { type Page, PageContext } from "./context";
import { DocumentDialog, KeyDialog, type Opened } from "./dialog";
import { DocumentsView } from "./documents";
import { HealthView } from "./health";
import { moveBetweenHits } from "./hits";
import { type Language, Locale, rememberedLanguage, rememberLanguage } from "./i18n";
import { Answer } from "./notice";
import { hashOf, type Place, readPlace, VIEWS } from "./place";
import { useRequest } from "./request";
import { SearchView } from "./search";
import { applyTheme, isDark, onSystemTheme, rememberedTheme, type Theme } from "./theme";

const THEMES: readonly Theme[] = ["auto", "light", "dark"];

export function App() {
  const [language, setLanguage] = useState<Language>(rememberedLanguage);
  const [theme, setTheme] = useState<Theme>(rememberedTheme);
  const [dark, setDark] = useState(() => isDark(theme));
  const [online, setOnline] = useState(navigator.onLine);
  const [place, setPlace] = useState<Place>(readPlace);
  const [opened, setOpened] = useState<Opened | null>(null);
  const [asking, setAsking] = useState<{ wrong: boolean } | null>(null);
  const [keys, setKeys] = useState(0);
  const locale = useMemo(() => new Locale(language), [language]);

  useEffect(() => {
    document.documentElement.lang = language;
    document.documentElement.dir = locale.direction;
    rememberLanguage(language);
  }, [language, locale]);
  useEffect(() => {
    applyTheme(theme);
    setDark(isDark(theme));
    return onSystemTheme(() => setDark(isDark(theme)));
  }, [theme]);
  useEffect(() => {
    const changed = (): void => setOnline(navigator.onLine);
    const moved = (): void => setPlace(readPlace());
    addEventListener("online", changed);
    addEventListener("offline", changed);
    addEventListener("hashchange", moved);
    addEventListener("popstate", moved);
    return () => {
      removeEventListener("online", changed);
      removeEventListener("offline", changed);
      removeEventListener("hashchange", moved);
      removeEventListener("popstate", moved);
    };
  }, []);

  const go = useCallback((change: Partial<Place>, replace = false): void => {
    setPlace((before) => {
      const next = { ...before, ...change };
      const hash = hashOf(next);
      if (hash !== hashOf(before)) {
        if (replace) history.replaceState(null, "", hash);
        else history.pushState(null, "", hash);
      }
      return next;
    });
  }, []);

  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      const typing = target.closest("input:not([type=radio], [type=range]), select, textarea") !== null;
      if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/" && !typing) {
        event.preventDefault();
        const box = document.querySelector<HTMLInputElement>("#query");
        if (box) {
          box.focus();
          box.select();
        } else go({ view: "search" });
      }
      const inBox = target.id === "query";
      const onHit = target.closest("[data-hit]") !== null;
      if ((event.key === "ArrowDown" || event.key === "ArrowUp") && (onHit || (inBox && event.key === "ArrowDown"))) {
        if (moveBetweenHits(event.key === "ArrowDown" ? 1 : -1)) event.preventDefault();
      }
      if (event.key === "Escape" && onHit) document.querySelector<HTMLElement>("#query")?.focus();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [go]);

  const page: Page = useMemo(
    () => ({
      locale,
      theme,
      dark,
      online,
      keys,
      needKey: (wrong) => setAsking((before) => before ?? { wrong }),
      openDocument: (collection, id, span) => setOpened({ collection, id, ...(span && { span }) }),
    }),
    [locale, theme, dark, online, keys],
  );

  return (
    <PageContext.Provider value={page}>
      <Head
        place={place}
        go={go}
        language={language}
        onLanguage={setLanguage}
        theme={theme}
        onTheme={setTheme}
        onKey={() => setAsking({ wrong: false })}
      />
      {!online && (
        <p class="banner" role="alert">
          <strong>{locale.t("offline")}.</strong> {locale.t("offlineHint")}
        </p>
      )}
      <Main place={place} go={go} />
      {opened && <DocumentDialog opened={opened} onClose={() => setOpened(null)} />}
      {asking && (
        <KeyDialog
          wrong={asking.wrong}
          onDone={(changed) => {
            setAsking(null);
            if (changed) setKeys((n) => n + 1);
          }}
        />
      )}
    </PageContext.Provider>
  );
}

// Past the form, to the results or what else the view shows.
function skip(): void {
  (document.querySelector<HTMLElement>("#results") ?? document.querySelector<HTMLElement>("main"))?.focus();
}

function Head({
  place,
  go,
  language,
  onLanguage,
  theme,
  onTheme,
  onKey,
}: {
  place: Place;
  go: (change: Partial<Place>) => void;
  language: Language;
  onLanguage: (language: Language) => void;
  theme: Theme;
  onTheme: (theme: Theme) => void;
  onKey: () => void;
}) {
  const locale = useMemo(() => new Locale(language), [language]);
  const themeWord = { auto: "themeAuto", light: "themeLight", dark: "themeDark" } as const;
  return (
    <header class="top">
      <button type="button" class="skip" onClick={skip}>
        {locale.t("skip")}
      </button>
      <div class="bar">
        <a class="brand" href={hashOf({ ...place, view: "search", query: "" })} dir="ltr">
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <path d="M4 8h24" />
            <path d="M8.5 14.5h15" />
            <path d="M13 21h6" />
            <circle cx="16" cy="27" r="2.2" />
          </svg>
          nestling
        </a>
        <nav aria-label={locale.t("views")}>
          {VIEWS.map((view) => (
            <a
              key={view}
              href={hashOf({ ...place, view })}
              aria-current={place.view === view ? "page" : undefined}
              onClick={(event) => {
                if (event.metaKey || event.ctrlKey || event.shiftKey) return;
                event.preventDefault();
                go({ view });
              }}
            >
              {locale.t(view)}
            </a>
          ))}
        </nav>
        <div class="tools">
          {apiKey() && (
            <button type="button" class="icon" onClick={onKey} aria-label={locale.t("keyLabel")} title={locale.t("keyLabel")}>
              <svg viewBox="0 0 20 20" aria-hidden="true">
                <circle cx="7" cy="13" r="3.5" />
                <path d="M9.6 10.4L16 4M13 7l2.2 2.2" />
              </svg>
            </button>
          )}
          <label class="icon theme" title={locale.t("theme")}>
            <span class="hidden">{locale.t("theme")}</span>
            <svg viewBox="0 0 20 20" aria-hidden="true">
              <circle cx="10" cy="10" r="6.5" />
              <path class="half" d="M10 3.5a6.5 6.5 0 0 1 0 13z" />
            </svg>
            <select value={theme} onChange={(event) => onTheme(event.currentTarget.value as Theme)}>
              {THEMES.map((one) => (
                <option key={one} value={one}>
                  {locale.t(themeWord[one])}
                </option>
              ))}
            </select>
          </label>
          <button type="button" class="quiet language" lang={locale.other} onClick={() => onLanguage(locale.other)}>
            {locale.t("otherLanguage")}
          </button>
        </div>
      </div>
    </header>
  );
}

function Main({ place, go }: { place: Place; go: (change: Partial<Place>, replace?: boolean) => void }) {
  const [loads, setLoads] = useState(0);
  const collections = useRequest((signal) => api.collections(signal), [loads]);
  const all = collections.value ?? [];
  const info =
    all.find((one) => one.name === place.collection) ?? all.find((one) => one.documents > 0) ?? all[0];
  const [before, setBefore] = useState(place.view);
  useEffect(() => {
    if (before !== place.view) {
      setBefore(place.view);
      setLoads((n) => n + 1); // documents may have come or gone
      scrollTo(0, 0);
    }
  }, [place.view]);
  return (
    <main tabIndex={-1} class={place.view}>
      <Answer request={collections} lines={3}>
        {() => {
          if (place.view === "collections") return <CollectionsView collections={all} go={go} />;
          if (place.view === "health") return <HealthView collections={all} reload={() => setLoads((n) => n + 1)} />;
          if (!info) return <NoCollections />;
          if (place.view === "documents") return <DocumentsView info={info} collections={all} place={place} go={go} />;
          return <SearchView info={info} collections={all} place={place} go={go} />;
        }}
      </Answer>
    </main>
  );
}
