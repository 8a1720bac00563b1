import { IsIn } from 'class-validator';
import { GuestPathQuery } from '../model/guest-file.response.js';

const FORMATS = ['zip', 'tar.gz'] as const;

export class DownloadDirectoryQuery extends GuestPathQuery {
  /** `tar.gz` keeps owners and names in any encoding; `zip` can be opened on any system */
  @IsIn(FORMATS)
  format!: (typeof FORMATS)[number];
}
