/** Entry of the feature map's bundle: what anywidget imports. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { MapView } from "./view.js";

export default entry<Traits>((mounting) => new MapView(mounting));
