/** The origin of a command. It travels with every command into the metadata of its events. */
export interface CommandContext {
  /** UUID of this command. A repeated command has the same id, so repeating it is harmless. */
  readonly commandId: string;
  /** UUID shared by everything that results from one external request. */
  readonly correlationId: string;
  /** `api:<token name>`, `node:<node id>` or `system:<reactor>`. */
  readonly actor: string;
}
