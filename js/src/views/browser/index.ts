/** Entry of the browser's bundle: what anywidget imports. */
import { entry } from "../../core/mount.js";
import "../../core/table.css";
import "./style.css";
import type { Traits } from "./synced.js";
import { BrowserView } from "./view.js";

export default entry<Traits>((mounting) => new BrowserView(mounting));
