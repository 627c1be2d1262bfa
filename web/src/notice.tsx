// What stands in the place of an answer: loading, slow, empty, or an error with what to do.

import type { ComponentChildren } from "preact";

import type { ApiError } from "./api";
import { usePage } from "./context";
import type { Request } from "./request";

export function Problem({ error, retry }: { error: ApiError; retry: () => void }) {
  const { locale } = usePage();
  if (error.trouble === "key") return null; // the dialog for the key is open
  const hint =
    error.trouble === "offline"
      ? locale.t("offlineHint")
      : error.trouble === "busy" || error.trouble === "starting"
        ? locale.t("busyHint", Math.max(1, error.retryAfter))
        : error.message;
  return (
    <div class="notice problem" role="alert">
      <p>
        <strong>{locale.t(error.trouble)}</strong>
      </p>
      <p dir="auto">{hint}</p>
      <button type="button" class="quiet" onClick={retry}>
        {locale.t("retry")}
      </button>
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="notice empty">
      <Nest />
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Skeleton({ lines }: { lines: number }) {
  return (
    <div class="skeleton" aria-hidden="true">
      {Array.from({ length: lines }, (_, line) => (
        <div key={line}>
          <i />
          <i />
          <i />
        </div>
      ))}
    </div>
  );
}

// The whole state of a request, around what its answer shows.
export function Answer<T>({
  request,
  lines = 4,
  children,
}: {
  request: Request<T>;
  lines?: number;
  children: (value: T) => ComponentChildren;
}) {
  const { locale } = usePage();
  const { value, error, running, slow, retry } = request;
  return (
    <>
      {error && <Problem error={error} retry={retry} />}
      {running && slow && (
        <p class="notice slow" role="status">
          {locale.t("slow")}
        </p>
      )}
      {value === null && running && (
        <>
          <p class="hidden" role="status">
            {locale.t("loading")}
          </p>
          <Skeleton lines={lines} />
        </>
      )}
      {value !== null && children(value)}
    </>
  );
}

function Nest() {
  return (
    <svg class="nest" viewBox="0 0 96 60" aria-hidden="true">
      <path d="M8 12h80" />
      <path d="M20 26h56" />
      <path d="M32 40h32" />
      <circle cx="48" cy="54" r="4" />
    </svg>
  );
}
