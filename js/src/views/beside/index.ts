/** Entry of the Beside bundle: what anywidget imports. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { BesideView } from "./view.js";

export default entry<Traits>((mounting) => new BesideView(mounting));
