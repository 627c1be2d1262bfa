// Metadata as short pairs of a name and a value.

import type { Metadata } from "./api";
import { usePage } from "./context";
import { shortened } from "./text";

const shown = (value: unknown): string =>
  typeof value === "string" ? value : Array.isArray(value) ? value.map(shown).join(", ") : JSON.stringify(value);

export function MetadataList({ metadata, most = 50 }: { metadata: Metadata | null | undefined; most?: number }) {
  const { locale } = usePage();
  const pairs = Object.entries(metadata ?? {}).filter(([, value]) => value !== null && value !== "");
  if (pairs.length === 0) return null;
  return (
    <dl class="metadata" aria-label={locale.t("metadata")}>
      {pairs.slice(0, most).map(([name, value]) => (
        <div key={name}>
          <dt>
            <bdi>{name}</bdi>
          </dt>
          <dd>
            <bdi>{shortened(shown(value), 80)}</bdi>
          </dd>
        </div>
      ))}
    </dl>
  );
}
