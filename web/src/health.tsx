// The view of the server's health: whether it is ready, its models, and what collections take.

import type { ComponentChild } from "preact";
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
                <NamedTable
                  title={locale.t("models")}
                  columns={[locale.t("dim"), locale.t("nesting"), locale.t("length")]}
                  rows={status.models.map((model) => ({
                    name: model.name,
                    cells: [
                      locale.number(model.dim),
                      <bdi>{model.nesting?.length ? model.nesting.join(", ") : locale.t("none")}</bdi>,
                      model.max_length ? locale.number(model.max_length) : "",
                    ],
                  }))}
                />
              )}
              {status.query_encoders.length > 0 && (
                <NamedTable
                  title={locale.t("queryEncoders")}
                  columns={[locale.t("imitates"), locale.t("dim")]}
                  rows={status.query_encoders.map((one) => ({
                    name: one.name,
                    cells: [<bdi>{one.imitates}</bdi>, locale.number(one.dim)],
                  }))}
                />
              )}
            </>
          );
        }}
      </Answer>
      {collections.length > 0 && (
        <NamedTable
          title={locale.t("collections")}
          columns={[
            locale.t("passages"),
            locale.t("segments"),
            locale.t("pending"),
            locale.t("removed"),
            locale.t("memory"),
            locale.t("disk"),
          ]}
          rows={collections.map((one) => ({
            name: one.name,
            cells: [
              locale.number(one.passages),
              locale.number(one.segments),
              locale.number(one.pending),
              locale.number(one.removed),
              <bdi>{locale.bytes(sum(one.memory))}</bdi>,
              <bdi>{locale.bytes(one.disk)}</bdi>,
            ],
          }))}
        />
      )}
    </>
  );
}

interface NamedRow {
  name: string;
  cells: ComponentChild[];
}

/** A card with a table whose rows begin with a name. */
function NamedTable({ title, columns, rows }: { title: string; columns: string[]; rows: NamedRow[] }) {
  const { locale } = usePage();
  return (
    <div class="card">
      <h2>{title}</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label={title}>
        <table>
          <thead>
            <tr>
              {[locale.t("name"), ...columns].map((column) => (
                <th key={column} scope="col">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(({ name, cells }) => (
              <tr key={name}>
                <th scope="row">
                  <bdi>{name}</bdi>
                </th>
                {cells.map((cell, column) => (
                  <td key={columns[column]}>{cell}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}
