/** Entry of the Steer bundle: what anywidget imports. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { SteerView } from "./view.js";

export default entry<Traits>((mounting) => new SteerView(mounting));
