/** Who asked for a command and as part of what. Travels with every command into the metadata of its events. */
export interface CommandContext {
  /** UUID of this command. A repeated command has the same id, and is then harmless. */
  readonly commandId: string;
  /** UUID shared by everything that follows from one outside request. */
  readonly correlationId: string;
  /** `api:<token name>`, `node:<node id>` or `system:<reactor>`. */
  readonly actor: string;
}
