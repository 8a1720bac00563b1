/** The logger that the adapters need; Nest's `Logger` satisfies it. */
export interface StoreLog {
  log(message: string): void;
  warn(message: string): void;
}
