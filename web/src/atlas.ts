// The map's view, in a file of its own that is fetched when a map is first shown.

import { EmbeddingView } from "embedding-atlas/component";

export { EmbeddingView };
