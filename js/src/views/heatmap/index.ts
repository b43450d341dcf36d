/** Entry of the TokenHeatmap bundle: what anywidget imports. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { HeatmapView } from "./view.js";

export default entry<Traits>((mounting) => new HeatmapView(mounting));
