import { Injectable } from '@nestjs/common';
import type { RequestHandler } from 'express';
import type { Histogram } from 'prom-client';
import { MetricsRegistry } from './metrics-registry.js';

const BUCKETS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** Durations of HTTP requests by route template: ids in paths must not create a time series each. */
@Injectable()
export class HttpMetrics {
  private readonly durations: Histogram<'method' | 'route' | 'status'>;

  constructor(registry: MetricsRegistry) {
    this.durations = registry.histogram(
      { name: 'sendense_http_request_duration_seconds', help: 'Duration of HTTP requests, excluding event streams', labels: ['method', 'route', 'status'] },
      BUCKETS_SECONDS,
    );
  }

  readonly middleware: RequestHandler = (request, response, next) => {
    const begun = performance.now();
    response.once('close', () => {
      if (String(response.getHeader('Content-Type') ?? '').startsWith('text/event-stream')) return;
      this.durations.observe(
        { method: METHODS.has(request.method) ? request.method : 'other', route: routeTemplate(request.route), status: String(response.statusCode) },
        (performance.now() - begun) / 1000,
      );
    });
    next();
  };
}

/** Express types a request's route as any; only a string path is used. */
function routeTemplate(route: unknown): string {
  if (typeof route === 'object' && route !== null && 'path' in route && typeof route.path === 'string' && route.path.startsWith('/')) return route.path;
  return 'unmatched';
}
