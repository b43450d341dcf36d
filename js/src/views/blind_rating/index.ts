/** The bundle of blinded ratings. */
import { entry } from "../../core/mount.js";
import "./style.css";
import type { Traits } from "./synced.js";
import { RatingView } from "./view.js";

export default entry<Traits>((mounting) => new RatingView(mounting));
