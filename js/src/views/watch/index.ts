/** Entry of the Watch bundle: what anywidget imports. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { WatchView } from "./view.js";

export default entry<Traits>((mounting) => new WatchView(mounting));
