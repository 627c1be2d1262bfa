import "./style.css";

import { render } from "preact";

import { App } from "./app";
import { applyTheme, rememberedTheme } from "./theme";

applyTheme(rememberedTheme());
const root = document.querySelector("#page");
if (root) render(<App />, root);
