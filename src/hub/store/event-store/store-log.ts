/** What the adapters need of a logger; Nest's `Logger` is one. */
export interface StoreLog {
  log(message: string): void;
  warn(message: string): void;
}
