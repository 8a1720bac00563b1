import { Injectable } from '@nestjs/common';

/** Bytes copied and read back by transfers that are under way, by copy. Not recorded: a restarted hub begins to count again. */
@Injectable()
export class CopyProgress {
  private readonly bytes = new Map<string, number>();

  set(copyId: string, bytes: number): void {
    this.bytes.set(copyId, bytes);
  }

  end(copyId: string): void {
    this.bytes.delete(copyId);
  }

  of(copyId: string): number | null {
    return this.bytes.get(copyId) ?? null;
  }
}
