/** The bundle of a feature's page. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { DashboardView } from "./view.js";

export default entry<Traits>((mounting) => new DashboardView(mounting));
