const BEAT_MS = 100;
/** Share of the beats of a span that came too late, or not at all, when the machine is too busy to be judged. */
const STARVED_SHARE = 0.3;
const KEPT = 600;

/** How often this process was let run: what is late here for want of a processor is late in the hub as well. */
export class Pauses {
  private readonly beats: number[] = [];
  private readonly timer = setInterval(() => {
    this.beats.push(performance.now());
    if (this.beats.length > KEPT) this.beats.shift();
  }, BEAT_MS).unref();

  /** Whether the last `spanMs` had far fewer beats than it should have had. */
  isStarved(spanMs: number): boolean {
    const since = performance.now() - spanMs;
    const heard = this.beats.filter((beat) => beat >= since).length;
    return heard < (1 - STARVED_SHARE) * (spanMs / BEAT_MS);
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
