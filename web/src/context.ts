// What every part of the page may need: the language, the theme, and the API key's state.

import { createContext } from "preact";
import { useContext } from "preact/hooks";

import { Locale } from "./i18n";
import type { Theme } from "./theme";

export interface Page {
  locale: Locale;
  theme: Theme;
  dark: boolean;
  online: boolean;
  // Counts up when a key was entered, so that what failed for want of one runs again.
  keys: number;
  needKey: (wrong: boolean) => void;
  openDocument: (collection: string, id: string, span?: readonly [number, number]) => void;
}

export const PageContext = createContext<Page>({
  locale: new Locale("en"),
  theme: "auto",
  dark: false,
  online: true,
  keys: 0,
  needKey: () => undefined,
  openDocument: () => undefined,
});

export const usePage = (): Page => useContext(PageContext);
