import { defineConfig } from "vitest/config";

export default defineConfig({
  define: { __NG_VERSION__: JSON.stringify("9.9.9") },
  test: { environment: "happy-dom", include: ["tests/**/*.test.ts"], testTimeout: 10_000 },
});
