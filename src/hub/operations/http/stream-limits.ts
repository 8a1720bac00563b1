import { applyDecorators, type CallHandler, type ExecutionContext, Injectable, type NestInterceptor, Optional, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { Request, Response } from 'express';
import type { Observable } from 'rxjs';
import { HubConfig } from '../../hub.config.js';
import { loggerFor } from '../../../lib/logging/logger.js';
import { MetricsRegistry } from '../../../lib/http/metrics-registry.js';
import { HttpProblem } from '../../../lib/http/problem.js';
import { ApiProblem } from '../../../lib/http/problem-responses.decorator.js';
import { requestState } from '../../../lib/http/request-state.js';

/** `download`: uses processes of its own; `event_stream`: stays open and uses memory. */
export type StreamKind = 'download' | 'event_stream';

interface StreamRoute {
  readonly kind: StreamKind;
  readonly isStream: (request: Request) => boolean;
}

const STREAM_ROUTE = 'sendense:stream-route';
const KINDS: readonly StreamKind[] = ['download', 'event_stream'];
const RETRY_SECONDS = 10;
const LOOK_MS = 1_000;

/** Marks a route with long-lived responses: their number is limited, and slow readers are cut off. @param isStream whether this request gets such a response */
export function Streams(kind: StreamKind, isStream: (request: Request) => boolean = () => true): MethodDecorator {
  const route: StreamRoute = { kind, isStream };
  return applyDecorators(SetMetadata(STREAM_ROUTE, route), ApiProblem(429, codeOf(kind)));
}

/** Counts the hub's long-lived responses, per actor and in total, and watches their readers. */
@Injectable()
export class StreamLimitsInterceptor implements NestInterceptor {
  private readonly log = loggerFor('StreamLimits');
  /** Actors of the open streams. */
  private readonly open: Readonly<Record<StreamKind, string[]>> = { download: [], event_stream: [] };
  private readonly config: HubConfig;

  constructor(
    private readonly reflector: Reflector,
    registry: MetricsRegistry,
    @Optional() config?: HubConfig,
  ) {
    this.config = config ?? new HubConfig();
    registry.gauge({
      name: 'sendense_open_streams',
      help: 'Open downloads and event streams',
      labels: ['kind'],
      collect: (gauge) => {
        for (const kind of KINDS) gauge.set({ kind }, this.open[kind].length);
      },
    });
  }

  /** @throws HttpProblem 429 */
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const route = this.reflector.get<StreamRoute | undefined>(STREAM_ROUTE, context.getHandler());
    const request = context.switchToHttp().getRequest<Request>();
    if (route?.isStream(request) !== true) return next.handle();
    const response = context.switchToHttp().getResponse<Response>();
    const { actor } = requestState(request);
    this.take(route.kind, actor, response);
    this.watchReader(route.kind, actor, request, response);
    return next.handle();
  }

  private take(kind: StreamKind, actor: string, response: Response): void {
    const open = this.open[kind];
    const { all, perActor } = this.limits(kind);
    const own = open.filter((one) => one === actor).length;
    if (open.length >= all || own >= perActor) {
      const whose = own >= perActor ? `${actor} has ${own} open` : `${open.length} are open`;
      const limit = own >= perActor ? perActor : all;
      const what = kind === 'download' ? 'downloads' : 'event streams';
      throw new HttpProblem(
        429,
        codeOf(kind),
        `Too many ${what}: ${whose}, and the limit is ${limit}. Try again when one has ended.`,
        { limit },
        {
          'Retry-After': String(RETRY_SECONDS),
        },
      );
    }
    open.push(actor);
    response.once('close', () => {
      open.splice(open.indexOf(actor), 1);
    });
  }

  private limits(kind: StreamKind): { readonly all: number; readonly perActor: number } {
    const { maxDownloads, maxDownloadsPerActor, maxEventStreams, maxEventStreamsPerActor } = this.config;
    switch (kind) {
      case 'download':
        return { all: maxDownloads, perActor: maxDownloadsPerActor };
      case 'event_stream':
        return { all: maxEventStreams, perActor: maxEventStreamsPerActor };
    }
  }

  /** Counts only time in which bytes wait for the reader, so a slow source never causes a cut-off. */
  private watchReader(kind: StreamKind, actor: string, request: Request, response: Response): void {
    const { socket } = request;
    const taken = (): number => socket.bytesWritten - socket.writableLength;
    let since = performance.now();
    let before = taken();
    const timer = setInterval(
      () => {
        const now = performance.now();
        const seconds = this.config.slowReaderSeconds;
        const isWaitedFor = response.writableLength > 0;
        if (isWaitedFor && now - since < seconds * 1000) return;
        if (isWaitedFor && taken() - before < seconds * this.config.slowReaderMinBytesPerSecond) {
          this.log.warn('cut off a reader that was too slow', {
            kind,
            actor,
            source_address: socket.remoteAddress ?? null,
            seconds,
            bytes_taken: taken() - before,
          });
          response.destroy();
          return;
        }
        since = now;
        before = taken();
      },
      Math.min(LOOK_MS, this.config.slowReaderSeconds * 250),
    );
    timer.unref();
    response.once('close', () => clearInterval(timer));
  }
}

function codeOf(kind: StreamKind): string {
  return kind === 'download' ? 'too_many_downloads' : 'too_many_event_streams';
}
