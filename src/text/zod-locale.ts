/** For the parsing of what others wrote: problems in English words, which `zod/mini` does not have by itself. */
import { en } from 'zod/locales'

export const englishLocale = { error: en().localeError }
