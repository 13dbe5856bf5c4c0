/** The script of the page: draws the timeline that the page contains. */
import { expand, type CompactTimeline } from './compact.ts'
import { TimelinePage } from './timeline-page.ts'

const data = document.querySelector('#timeline')?.textContent ?? ''
document.body.append(...new TimelinePage(expand(JSON.parse(data) as CompactTimeline)).nodes)
