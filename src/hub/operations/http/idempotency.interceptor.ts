import { type CallHandler, type ExecutionContext, Inject, Injectable, Logger, type NestInterceptor, StreamableFile } from '@nestjs/common';
import type { Request, Response } from 'express';
import { defer, lastValueFrom, type Observable } from 'rxjs';
import type { CommandContext } from '../../../kernel/command-context.js';
import { DomainError } from '../../../kernel/domain-error.js';
import { messageOf } from '../../../kernel/error-message.js';
import type { JsonValue } from '../../../kernel/json.js';
import { Clock, derivedId } from '../../../lib/clock/clock.js';
import { asDomainEvent, HUB_ID } from '../../store/event-store/command-runner.js';
import { type EventMetadata, EventStore, WrongExpectedRevisionError } from '../../store/event-store/event-store.port.js';
import { Recording } from '../../store/event-store/recording.js';
import { canonicalSha256 } from '../../../lib/http/canonical-json.js';
import { commandContextOf, idempotencyKeyOf } from '../../../lib/http/command-context.interceptor.js';
import { type CommandAccepted, type CommandAnswered, type CommandRecordEvent, commandStream } from './command-record.events.js';
import { PROBLEM_MEDIA_TYPE, problemAnswerOf } from '../../../lib/http/problem.js';
import { pathOf, requestState } from '../../../lib/http/request-state.js';
import { storeProblemOf } from './store-problems.js';

/** How long a repeated command waits for the first one, in milliseconds, before it is refused with `command_in_progress`. */
export const IN_PROGRESS_PATIENCE_MS = 5_000;
const RETRY_AFTER_SECONDS = 2;
const KEPT_HEADERS = ['ETag', 'Location'] as const;

type Answer = CommandAnswered['data'];

/**
 * Returns the original answer to a command with an Idempotency-Key, however often it is sent, also after a restart. Acceptance and answer are events of
 * the stream `command-<command id>`. A command that was accepted by a process that died runs again. That is harmless, because the ids of its events
 * derive from the command's id. Answers of 500 and above, and refusals that recorded nothing, are not stored: the key can be used until a command has
 * been carried out.
 */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  private readonly logger = new Logger('Idempotency');
  /** Commands that this process is running. An accepted command that is missing here belonged to a process that died. */
  private readonly running = new Map<string, Promise<void>>();

  constructor(
    private readonly store: EventStore,
    private readonly clock: Clock,
    @Inject(HUB_ID) private readonly hubId: string,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const request = http.getRequest<Request>();
    if (idempotencyKeyOf(request) === null) return next.handle();
    return defer(() => this.answerOnce(request, http.getResponse<Response>(), next));
  }

  private async answerOnce(request: Request, response: Response, next: CallHandler): Promise<unknown> {
    const context = commandContextOf(request);
    const patienceEnds = performance.now() + IN_PROGRESS_PATIENCE_MS;
    for (let first = this.running.get(context.commandId); first !== undefined; first = this.running.get(context.commandId)) {
      if (!(await settlesWithin(first, patienceEnds - performance.now()))) {
        throw new DomainError('conflict', 'command_in_progress', 'The same command is still running; repeat the request a little later.', {
          command_id: context.commandId,
          retry_after_seconds: RETRY_AFTER_SECONDS,
        });
      }
    }
    // No await from here to the entry in the map, so that two requests cannot both find the command idle.
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.running.set(context.commandId, promise);
    try {
      return await this.replayOrRun(request, response, next, context);
    } finally {
      this.running.delete(context.commandId);
      resolve(undefined);
    }
  }

  private async replayOrRun(request: Request, response: Response, next: CallHandler, context: CommandContext): Promise<unknown> {
    const accepted: CommandAccepted['data'] = {
      method: request.method,
      path: pathOf(request.originalUrl),
      query: sortedQuery(request.originalUrl),
      body_sha256: canonicalSha256(request.body ?? null),
    };
    const { earlier, answer } = await this.load(context);
    if (earlier !== null && (earlier.body_sha256 !== accepted.body_sha256 || earlier.query !== accepted.query)) {
      throw new DomainError(
        'unprocessable',
        'idempotency_key_reused',
        'This Idempotency-Key was already used with another body or query; use a new key for a new command.',
        { command_id: context.commandId },
      );
    }
    if (answer !== null) return replay(response, answer);
    // A command counts as accepted once it records something: a refusal before that leaves no trace, and the key can be used again.
    const recording = new Recording(async () => {
      if (earlier === null) await this.append(context, 'no_stream', { type: 'CommandAccepted', data: accepted });
    });
    if (earlier !== null) recording.appended();
    return this.run(request, response, next, context, recording);
  }

  private async run(request: Request, response: Response, next: CallHandler, context: CommandContext, recording: Recording): Promise<unknown> {
    try {
      const result: unknown = await recording.during(() => lastValueFrom(next.handle(), { defaultValue: undefined }));
      if (!response.headersSent && !(result instanceof StreamableFile) && !requestState(request).answerIsSecret) {
        await this.keepAnswer(context, recording, { status: response.statusCode, body: jsonOf(result), headers: keptHeaders(response) });
      }
      return result;
    } catch (error) {
      const problem = problemAnswerOf(error, { path: pathOf(request.originalUrl), correlationId: context.correlationId }, storeProblemOf);
      if (recording.hasRecorded && problem.status < 500) {
        await this.keepAnswer(context, recording, { status: problem.status, body: problem.body, headers: { ...problem.headers } });
      }
      throw error;
    }
  }

  private async load(context: CommandContext): Promise<{ earlier: CommandAccepted['data'] | null; answer: Answer | null }> {
    let earlier: CommandAccepted['data'] | null = null;
    let answer: Answer | null = null;
    for await (const recorded of this.store.read(commandStream(context.commandId))) {
      const event = asDomainEvent<CommandRecordEvent>(recorded);
      if (event.type === 'CommandAccepted') earlier = event.data;
      else answer = event.data;
    }
    return { earlier, answer };
  }

  /** The command has been carried out and its client must learn that. If the answer cannot be stored, the cost is a harmless second run, not a failure. */
  private async keepAnswer(context: CommandContext, recording: Recording, answer: Answer): Promise<void> {
    if (answer.status >= 500) return;
    try {
      await recording.begin();
      await this.append(context, 0, { type: 'CommandAnswered', data: answer });
    } catch (error) {
      if (error instanceof WrongExpectedRevisionError) return;
      this.logger.warn(`could not store the answer to command ${context.commandId}: ${messageOf(error)}`);
    }
  }

  private async append(context: CommandContext, expected: 'no_stream' | 0, event: CommandRecordEvent): Promise<void> {
    const metadata: EventMetadata = {
      $correlationId: context.correlationId,
      $causationId: context.commandId,
      actor: context.actor,
      hub_id: this.hubId,
      schema_version: 1,
      time: this.clock.iso(),
    };
    const stream = commandStream(context.commandId);
    await this.store.append(stream, expected, [{ id: derivedId(`${stream}/${event.type}`), type: event.type, data: event.data, metadata }]);
  }
}

function replay(response: Response, answer: Answer): JsonValue | undefined {
  response.status(answer.status).set(answer.headers).set('Idempotency-Replayed', 'true');
  if (answer.status >= 400) response.type(PROBLEM_MEDIA_TYPE);
  return answer.body;
}

/** The result as the client sees it: class instances become plain objects, dates become strings. */
function jsonOf(result: unknown): JsonValue | undefined {
  if (result === undefined || result === null) return undefined;
  // JSON.parse returns JSON by definition; its declared type is the looser any.
  return JSON.parse(JSON.stringify(result)) as JsonValue;
}

function keptHeaders(response: Response): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of KEPT_HEADERS) {
    const value = response.getHeader(name);
    if (typeof value === 'string') kept[name] = value;
  }
  return kept;
}

function sortedQuery(originalUrl: string): string {
  const mark = originalUrl.indexOf('?');
  if (mark === -1) return '';
  const parameters = new URLSearchParams(originalUrl.slice(mark + 1));
  parameters.sort();
  return parameters.toString();
}

async function settlesWithin(work: Promise<void>, milliseconds: number): Promise<boolean> {
  if (milliseconds <= 0) return false;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => {
    resolve(false);
  }, milliseconds);
  void work.then(() => {
    resolve(true);
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}
