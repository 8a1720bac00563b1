import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import { registerDecorator } from 'class-validator';
import { normalisedInstant } from '../../kernel/instant.js';

/**
 * A member that is a date and time of RFC 3339, such as `2026-11-21T10:30:00Z`. What the handler gets is normalised: UTC with milliseconds.
 * Week dates, ordinal dates, days that no calendar has, and times without a zone are refused.
 */
export function IsInstant(): PropertyDecorator {
  return applyDecorators(
    Transform(({ value }: { readonly value: unknown }) => normalisedInstant(value) ?? value),
    (target: object, property: string | symbol) => {
      registerDecorator({
        name: 'isInstant',
        target: target.constructor,
        propertyName: String(property),
        validator: {
          validate: (value) => normalisedInstant(value) !== null,
          defaultMessage: () => `${String(property)} must be a date and time of RFC 3339, such as 2026-11-21T10:30:00Z`,
        },
      });
    },
  );
}
