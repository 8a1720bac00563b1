import { afterAll, beforeEach, describe, expect, it } from '@jest/globals';
import { runWithCorrelation } from './correlation.js';
import { configureLogging, type LogFormat, loggerFor, type LogLevel } from './logger.js';
import { NestLogger } from './nest-logger.js';

let written: string[] = [];

function logTo(format: LogFormat, level: LogLevel): void {
  configureLogging({ level, format, program: 'test', to: { write: (line) => void written.push(line) } });
}

function records(): Record<string, unknown>[] {
  // Each line is a record written by pino as a JSON object.
  return written.map((line) => JSON.parse(line) as Record<string, unknown>);
}

beforeEach(() => {
  written = [];
  logTo('json', 'info');
});

afterAll(() => {
  configureLogging({ level: 'silent', format: 'json', program: 'test' });
});

describe('a record', () => {
  it('is one line of JSON with time, level, program, logger, message and facts', () => {
    loggerFor('Here').info('two\nlines', { port: 10100 });
    expect(written[0]).toMatch(/^[^\n]+\n$/);
    expect(records()).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        program: 'test',
        program_pid: process.pid,
        logger: 'Here',
        message: 'two\nlines',
        port: 10100,
      },
    ]);
  });

  it('carries the correlation id of the work it belongs to, across awaits', async () => {
    const log = loggerFor('Here');
    await Promise.all(
      ['one', 'two'].map((id) =>
        runWithCorrelation(id, async () => {
          await Promise.resolve();
          log.info(id);
        }),
      ),
    );
    log.info('outside');
    expect(records().map(({ message, correlation_id: id }) => [message, id])).toEqual([
      ['one', 'one'],
      ['two', 'two'],
      ['outside', undefined],
    ]);
  });

  it('is left out below the level', () => {
    loggerFor('Here').debug('not seen');
    expect(written).toEqual([]);
  });

  it('is a line of text in text format', () => {
    logTo('text', 'info');
    runWithCorrelation('c-1', () => {
      loggerFor('Here').warn('hm', { port: 1 });
    });
    expect(written[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} WARN {2}\[Here\] hm \{"port":1\} \(c-1\)\n$/);
  });

  it('follows a later configuration, even for existing loggers', () => {
    const log = loggerFor('Early');
    logTo('json', 'debug');
    log.debug('seen');
    expect(written).toHaveLength(1);
  });
});

describe('secrets', () => {
  it('are blanked by their name, at any depth and in any case', () => {
    loggerFor('Here').info('x', {
      authorization: 'Bearer s3cret',
      headers: { Authorization: 's3cret', Cookie: 's3cret' },
      list: [{ api_token: 's3cret', dbPassword: 's3cret', smb_credentials: 's3cret', apiKey: 's3cret' }],
    });
    expect(written[0]).not.toContain('s3cret');
  });

  it('are blanked inside text: bearer headers and passwords in URLs', () => {
    loggerFor('Here').info('calls with Bearer abc.s3cret', { url: 'postgres://u:s3cret@host/db', argv: ['-H', 'authorization: basic s3cret=='] });
    expect(written[0]).not.toContain('s3cret');
    expect(records()[0]).toMatchObject({ url: 'postgres://u:[redacted]@host/db' });
  });

  it('are blanked in errors, their causes and members', () => {
    const cause = Object.assign(new Error('no: postgres://u:s3cret@h/d'), { password: 's3cret' });
    loggerFor('Here').error('x', { error: new Error('with Bearer s3cret', { cause }) });
    expect(written[0]).not.toContain('s3cret');
    expect(records()[0]).toMatchObject({ error: { name: 'Error', message: 'with Bearer [redacted]', cause: { message: 'no: postgres://u:[redacted]@h/d' } } });
  });

  it('are distinguished from their locations', () => {
    loggerFor('Here').info('x', { api_token_file: '/data/api.token', tokens: 3 });
    expect(records()[0]).toMatchObject({ api_token_file: '/data/api.token', tokens: 3 });
  });
});

it('writes values that JSON cannot represent: cycles cut by depth, bigints as text', () => {
  const cycle: Record<string, unknown> = { size: 5n };
  cycle['self'] = cycle;
  loggerFor('Here').info('x', { cycle });
  expect(records()[0]).toMatchObject({ cycle: { size: '5' } });
});

it("accepts Nest's logs: its chatter as debug, its errors with their stack", () => {
  const nest = new NestLogger();
  nest.log('Mapped {/x, GET}', 'RouterExplorer');
  nest.error('broken', 'Error: broken\n  at here', 'Handler');
  expect(records()).toEqual([expect.objectContaining({ level: 'error', logger: 'Handler', message: 'broken', stack: 'Error: broken\n  at here' })]);
});
