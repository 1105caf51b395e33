#ifndef TRACK_INTEXC_INT_FNS_H
#define TRACK_INTEXC_INT_FNS_H

// The CPU runs the handler of an interrupt (an exception), or what that has called or was interrupted by.
bool check_in_interrupt(void);
bool check_in_exception(void);

#endif
