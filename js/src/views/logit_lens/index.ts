/** Entry of the LogitLens bundle: what anywidget imports. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { LensView } from "./view.js";

export default entry<Traits>((mounting) => new LensView(mounting));
