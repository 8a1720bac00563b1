import { connect, createServer, type Server, type Socket } from 'node:net';

/** Bytes on their way in one direction of one connection; more have to wait at the sender, as with a real window. */
const IN_FLIGHT_MAX = 64 * 1024 * 1024;

interface Parcel {
  readonly bytes: Buffer;
  readonly dueAt: number;
}

/** A stretch of TCP between two programs, on loopback, that can be long, fall silent, and break. */
export class BadNetwork {
  private readonly directions = new Set<Direction>();
  private readonly sockets = new Set<Socket>();
  private readonly stranded = new Set<Direction>();
  private silentNow = false;
  private carried = 0;
  private alter: ((bytes: Buffer) => boolean) | null = null;

  private constructor(
    private readonly server: Server,
    private readonly oneWayMs: () => number,
  ) {}

  /** @param roundTripMs added to what the way takes anyway; a function: anew for each piece, in which the order is kept */
  static async between(
    listen: { readonly host: string; readonly port: number },
    target: { readonly host: string; readonly port: number },
    roundTripMs: number | (() => number) = 0,
  ): Promise<BadNetwork> {
    const server = createServer({ pauseOnConnect: true });
    const network = new BadNetwork(server, typeof roundTripMs === 'number' ? () => roundTripMs / 2 : () => roundTripMs() / 2);
    server.on('connection', (near) => {
      network.join(near, connect(target));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(listen.port, listen.host, resolve);
    });
    return network;
  }

  /** Bytes that have arrived, of both directions. */
  get bytesCarried(): number {
    return this.carried;
  }

  get port(): number {
    const address = this.server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the network has no port');
    return address.port;
  }

  /** From now on nothing arrives, and nobody is told: connections stay open. */
  fallSilent(): void {
    this.silentNow = true;
  }

  /** What was held arrives. */
  recover(): void {
    this.silentNow = false;
    for (const direction of this.directions) direction.pump();
  }

  /** On the connections of now nothing arrives any more and nobody is told, as when what stood between has forgotten them; new ones are as good as ever. */
  strandConnections(): void {
    for (const direction of this.directions) this.stranded.add(direction);
  }

  /** Hands everything that arrives to a man in the middle, until he returns true: he has altered what he wanted to. */
  tamper(alter: (bytes: Buffer) => boolean): void {
    this.alter = alter;
  }

  get tampered(): boolean {
    return this.alter === null;
  }

  /** Ends all connections with a reset. */
  breakConnections(): void {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  async destroy(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => {
        resolve();
      });
    });
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private join(near: Socket, far: Socket): void {
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      this.sockets.add(socket);
      // The other side learns it from `close`.
      socket.on('error', () => undefined);
      socket.once('close', () => this.sockets.delete(socket));
    }
    const settings = {
      oneWayMs: this.oneWayMs,
      isSilent: (direction: Direction) => this.silentNow || this.stranded.has(direction),
      onArrival: (bytes: Buffer) => {
        this.carried += bytes.length;
        if (this.alter?.(bytes) === true) this.alter = null;
      },
    };
    const both = [new Direction(near, far, settings), new Direction(far, near, settings)];
    for (const direction of both) this.directions.add(direction);
    const over = (): void => {
      // A silent network does not tell anybody of an end either.
      if (this.silentNow || both.some((direction) => this.stranded.has(direction))) return;
      for (const direction of both) this.directions.delete(direction);
      near.destroy();
      far.destroy();
    };
    near.once('close', over);
    far.once('close', over);
    near.resume();
  }
}

interface NetworkSettings {
  readonly oneWayMs: () => number;
  readonly isSilent: (direction: Direction) => boolean;
  readonly onArrival: (bytes: Buffer) => void;
}

class Direction {
  private readonly underWay: Parcel[] = [];
  private inFlight = 0;
  private ended = false;
  private timer: NodeJS.Timeout | null = null;
  private full = false;
  private lastDueAt = 0;

  constructor(
    private readonly from: Socket,
    private readonly to: Socket,
    private readonly around: NetworkSettings,
  ) {
    from.on('data', (bytes: Buffer) => {
      this.lastDueAt = Math.max(this.lastDueAt, performance.now() + around.oneWayMs());
      this.underWay.push({ bytes, dueAt: this.lastDueAt });
      this.inFlight += bytes.length;
      if (this.inFlight > IN_FLIGHT_MAX) from.pause();
      this.pump();
    });
    from.once('end', () => {
      this.ended = true;
      this.pump();
    });
    to.on('drain', () => {
      this.full = false;
      this.pump();
    });
  }

  pump(): void {
    if (this.around.isSilent(this)) return;
    for (;;) {
      const [next] = this.underWay;
      if (next === undefined) {
        if (this.ended) this.to.end();
        return;
      }
      if (this.full) return;
      const waitMs = next.dueAt - performance.now();
      if (waitMs > 0) {
        this.timer ??= setTimeout(() => {
          this.timer = null;
          this.pump();
        }, waitMs);
        return;
      }
      this.underWay.shift();
      this.inFlight -= next.bytes.length;
      this.around.onArrival(next.bytes);
      this.full = !this.to.write(next.bytes);
      if (this.from.isPaused() && this.inFlight < IN_FLIGHT_MAX) this.from.resume();
    }
  }
}
