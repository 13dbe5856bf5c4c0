/** English messages for parse errors, because `zod/mini` has none. */
import { en } from 'zod/locales'

export const englishLocale = { error: en().localeError }
