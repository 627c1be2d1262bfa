// Light, dark, or as the system.

export type Theme = "auto" | "light" | "dark";

const KEY = "nestling-theme";
const media = matchMedia("(prefers-color-scheme: dark)");

export function rememberedTheme(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    if (kept === "light" || kept === "dark") return kept;
  } catch {
    // the browser refuses storage
  }
  return "auto";
}

export function applyTheme(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
  try {
    if (theme === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // not remembered
  }
}

export const isDark = (theme: Theme): boolean => (theme === "auto" ? media.matches : theme === "dark");

export function onSystemTheme(changed: () => void): () => void {
  media.addEventListener("change", changed);
  return () => media.removeEventListener("change", changed);
}
