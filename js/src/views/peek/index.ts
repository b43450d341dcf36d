/** Entry of the LogitPeek bundle: what anywidget imports. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { PeekView } from "./view.js";

export default entry<Traits>((mounting) => new PeekView(mounting));
