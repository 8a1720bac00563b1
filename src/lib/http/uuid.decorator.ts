import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import { registerDecorator } from 'class-validator';

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** Ids in paths, bodies, queries and headers obey this one rule. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value);
}

/** A member that is the id of something. What the handler gets is in lower case, as ids are stored. */
export function IsUuid(): PropertyDecorator {
  return applyDecorators(
    Transform(({ value }: { readonly value: unknown }) => (isUuid(value) ? value.toLowerCase() : value)),
    (target: object, property: string | symbol) => {
      registerDecorator({
        name: 'isUuid',
        target: target.constructor,
        propertyName: String(property),
        validator: { validate: isUuid, defaultMessage: () => `${String(property)} must be a UUID` },
      });
    },
  );
}
