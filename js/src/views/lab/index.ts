/** The bundle of the explanation lab. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { LabView } from "./view.js";

export default entry<Traits>((mounting) => new LabView(mounting));
