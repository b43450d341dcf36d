/** Synced state of a row of views: references to them, as Python sends them. */
import type { BaseTraits } from "../../core/traits.js";

export interface Traits extends BaseTraits {
  views: string[]; // "anywidget:<model id>"
}
