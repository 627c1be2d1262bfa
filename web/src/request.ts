// A request as state: what it answered, whether it runs, is slow, or failed.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import { ApiError, apiKey } from "./api";
import { usePage } from "./context";

const SLOW_MS = 2_500;
const MOST_RETRIES = 5;

export interface Request<T> {
  value: T | null;
  running: boolean;
  slow: boolean;
  error: ApiError | null;
  retry: () => void;
}

// Runs `ask` when one of `inputs` changes, and aborts the one before. `ask` is null while there is
// nothing to ask. The last answer stays until the next one comes, unless `fresh` is set.
export function useRequest<T>(
  ask: ((signal: AbortSignal) => Promise<T>) | null,
  inputs: readonly unknown[],
): Request<T> {
  const { keys, needKey } = usePage();
  const [value, setValue] = useState<T | null>(null);
  const [running, setRunning] = useState(false);
  const [slow, setSlow] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const [tries, setTries] = useState(0);
  const busy = useRef(0);
  const retry = useCallback(() => setTries((n) => n + 1), []);

  useEffect(() => {
    if (ask === null) {
      setValue(null);
      setError(null);
      setRunning(false);
      return;
    }
    const control = new AbortController();
    const timer = setTimeout(() => setSlow(true), SLOW_MS);
    let again: ReturnType<typeof setTimeout> | undefined;
    setRunning(true);
    setSlow(false);
    ask(control.signal)
      .then((answer) => {
        busy.current = 0;
        setValue(answer);
        setError(null);
      })
      .catch((reason: unknown) => {
        if (control.signal.aborted) return;
        const failure = reason instanceof ApiError ? reason : new ApiError("failed", String(reason));
        setError(failure);
        if (failure.trouble === "key") needKey(apiKey() !== "");
        const waits = failure.trouble === "busy" || failure.trouble === "starting";
        if (waits && busy.current < MOST_RETRIES) {
          busy.current += 1;
          again = setTimeout(retry, 1000 * Math.max(1, failure.retryAfter));
        }
      })
      .finally(() => {
        if (control.signal.aborted) return;
        clearTimeout(timer);
        setRunning(false);
        setSlow(false);
      });
    return () => {
      control.abort();
      clearTimeout(timer);
      clearTimeout(again);
    };
  }, [...inputs, tries, keys]);

  return { value, running, slow, error, retry };
}
