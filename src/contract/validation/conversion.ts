import 'reflect-metadata';
import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';

const CONVERSION = 'sendense:conversion';

type Convert = (value: unknown) => string | null;

/** The handler receives the converted value of the member; `convert` returns null for an invalid value, which other rules refuse. */
export function Converted(convert: Convert): PropertyDecorator {
  return applyDecorators(
    Transform(({ value }: { readonly value: unknown }) => convert(value) ?? value),
    Reflect.metadata(CONVERSION, convert),
  );
}

export function conversionOf(message: new () => object, member: string): Convert | null {
  return (Reflect.getMetadata(CONVERSION, message.prototype as object, member) as Convert | undefined) ?? null; // only Converted sets it
}
