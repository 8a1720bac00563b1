import { LocationDto } from '../model/location.dto.js';

export class MoveRepositoryDto extends LocationDto {}
