/** Receives text; in the program, standard error. */
export type Write = (text: string) => void;

const MS_PER_SECOND = 1000;

/** Prints each step and its duration, one line per step. */
export class StepList {
  private current: { readonly title: string; readonly began: number } | null = null;
  private count = 0;

  constructor(private readonly write: Write) {}

  /** Title of the current or failed step; empty before the first. */
  get last(): string {
    return this.current?.title ?? '';
  }

  /**
   * Runs one step.
   * @param work may report its result in a few words through `note`; an error it throws is passed on after the step is printed as failed
   */
  async run<Result>(title: string, work: (note: (text: string) => void) => Promise<Result>): Promise<Result> {
    this.count += 1;
    const began = performance.now();
    this.current = { title, began };
    let notes = '';
    const line = `${String(this.count).padStart(2)}. ${title}`;
    try {
      const result = await work((text) => {
        notes = text;
      });
      this.write(`${line.padEnd(44)} ${seconds(began)}${notes === '' ? '' : `  ${notes}`}\n`);
      return result;
    } catch (error) {
      this.write(`${line.padEnd(44)} ${seconds(began)}  FAILED\n`);
      throw error;
    }
  }
}

function seconds(began: number): string {
  return `${((performance.now() - began) / MS_PER_SECOND).toFixed(1).padStart(6)} s`;
}
