// The view of the server's health: whether it is ready, its models, and what collections take.

import { useEffect, useState } from "preact/hooks";

import * as api from "./api";
import type { CollectionInfo } from "./api";
import { sum } from "./collections";
import { usePage } from "./context";
import { Answer } from "./notice";
import { useRequest } from "./request";

const EVERY_MS = 10_000;

export function HealthView({ collections, reload }: { collections: CollectionInfo[]; reload: () => void }) {
  const { locale } = usePage();
  const [tick, setTick] = useState(0);
  const request = useRequest((signal) => api.status(signal), [tick]);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) setTick((n) => n + 1);
    }, EVERY_MS);
    return () => clearInterval(timer);
  }, []);

  return (
    <>
      <header class="head">
        <h1>{locale.t("health")}</h1>
        <button
          type="button"
          class="quiet"
          onClick={() => {
            setTick((n) => n + 1);
            reload();
          }}
        >
          {locale.t("refresh")}
        </button>
      </header>
      <Answer request={request} lines={2}>
        {(status) => {
          const ready = status.ready && request.error === null;
          return (
            <>
              <dl class="tiles">
                <div class={ready ? "tile good" : "tile bad"}>
                  <dt>{locale.t("state")}</dt>
                  <dd>{locale.t(ready ? "ready" : "notReady")}</dd>
                </div>
                <div class="tile">
                  <dt>{locale.t("uptime")}</dt>
                  <dd>{locale.duration(status.uptime_seconds)}</dd>
                </div>
                <div class="tile">
                  <dt>{locale.t("access")}</dt>
                  <dd>{locale.t(status.read_only ? "readOnly" : "readWrite")}</dd>
                </div>
                <div class="tile">
                  <dt>{locale.t("version")}</dt>
                  <dd>
                    <bdi>{status.version}</bdi>
                  </dd>
                </div>
              </dl>
              {status.models.length > 0 && (
                <div class="card">
                  <h2>{locale.t("models")}</h2>
                  <div class="scroll" tabIndex={0} role="region" aria-label={locale.t("models")}>
                    <table>
                      <thead>
                        <tr>
                          <th scope="col">{locale.t("name")}</th>
                          <th scope="col">{locale.t("dim")}</th>
                          <th scope="col">{locale.t("nesting")}</th>
                          <th scope="col">{locale.t("length")}</th>
                        </tr>
                      </thead>
                      <tbody>
                        {status.models.map((model) => (
                          <tr key={model.name}>
                            <th scope="row">
                              <bdi>{model.name}</bdi>
                            </th>
                            <td>{locale.number(model.dim)}</td>
                            <td>
                              <bdi>{model.nesting?.length ? model.nesting.join(", ") : locale.t("none")}</bdi>
                            </td>
                            <td>{model.max_length ? locale.number(model.max_length) : ""}</td>
                          </tr>
                        ))}
                      </tbody>
                    </table>
                  </div>
                </div>
              )}
            </>
          );
        }}
      </Answer>
      {collections.length > 0 && (
        <div class="card">
          <h2>{locale.t("collections")}</h2>
          <div class="scroll" tabIndex={0} role="region" aria-label={locale.t("collections")}>
            <table>
              <thead>
                <tr>
                  <th scope="col">{locale.t("name")}</th>
                  <th scope="col">{locale.t("passages")}</th>
                  <th scope="col">{locale.t("segments")}</th>
                  <th scope="col">{locale.t("pending")}</th>
                  <th scope="col">{locale.t("removed")}</th>
                  <th scope="col">{locale.t("memory")}</th>
                  <th scope="col">{locale.t("disk")}</th>
                </tr>
              </thead>
              <tbody>
                {collections.map((one) => (
                  <tr key={one.name}>
                    <th scope="row">
                      <bdi>{one.name}</bdi>
                    </th>
                    <td>{locale.number(one.passages)}</td>
                    <td>{locale.number(one.segments)}</td>
                    <td>{locale.number(one.pending)}</td>
                    <td>{locale.number(one.removed)}</td>
                    <td>
                      <bdi>{locale.bytes(sum(one.memory))}</bdi>
                    </td>
                    <td>
                      <bdi>{locale.bytes(one.disk)}</bdi>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </div>
      )}
    </>
  );
}
