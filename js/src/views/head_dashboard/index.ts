/** Entry of the head dashboard's bundle: what anywidget imports. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { HeadView } from "./view.js";

export default entry<Traits>((mounting) => new HeadView(mounting));
