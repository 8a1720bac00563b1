import { Module } from '@nestjs/common';
import { DiffController } from './diff/diff.controller.js';
import { DiffReader } from './diff/diff.reader.js';
import { ExplainController } from './explain/explain.controller.js';
import { ExplainReader } from './explain/explain.reader.js';

/** What changed between two instants, and why one thing is as it is. */
@Module({ controllers: [DiffController, ExplainController], providers: [DiffReader, ExplainReader] })
export class TimeTravelModule {}
