! The codes of <sublet/codes.h>, one for one, with what they mean.
module sublet_codes_f08
  use, intrinsic :: iso_c_binding, only: c_int
  implicit none
  private

  integer(c_int), parameter, public :: sublet_success = 0
  integer(c_int), parameter, public :: sublet_err_again = -1
  integer(c_int), parameter, public :: sublet_err_bad_call = -2
  integer(c_int), parameter, public :: sublet_err_unknown_function = -3
  integer(c_int), parameter, public :: sublet_err_output_size = -4
  integer(c_int), parameter, public :: sublet_err_function = -5
  integer(c_int), parameter, public :: sublet_err_exception = -6
  integer(c_int), parameter, public :: sublet_err_crashed = -7
  integer(c_int), parameter, public :: sublet_err_exited = -8
  integer(c_int), parameter, public :: sublet_err_timed_out = -9
  integer(c_int), parameter, public :: sublet_err_lost = -10
  integer(c_int), parameter, public :: sublet_err_closed = -11
  integer(c_int), parameter, public :: sublet_err_deadline = -12
  integer(c_int), parameter, public :: sublet_err_refused = -13
  integer(c_int), parameter, public :: sublet_err_invalid = -32
  integer(c_int), parameter, public :: sublet_err_overloaded = -33
  integer(c_int), parameter, public :: sublet_err_disconnected = -34
  integer(c_int), parameter, public :: sublet_err_denied = -35
  integer(c_int), parameter, public :: sublet_err_unsupported = -36
  integer(c_int), parameter, public :: sublet_err_internal = -37
  integer(c_int), parameter, public :: sublet_err_no_init = -38
  integer(c_int), parameter, public :: sublet_err_no_application = -39
  integer(c_int), parameter, public :: sublet_err_too_large = -40
  integer(c_int), parameter, public :: sublet_err_other_build = -41
  integer(c_int), parameter, public :: sublet_err_ambiguous = -42
  integer(c_int), parameter, public :: sublet_err_static_program = -43
  integer(c_int), parameter, public :: sublet_err_handle = -64
  integer(c_int), parameter, public :: sublet_err_argument = -65
  integer(c_int), parameter, public :: sublet_err_count = -66
  integer(c_int), parameter, public :: sublet_err_option = -67
  integer(c_int), parameter, public :: sublet_err_comm = -80
  integer(c_int), parameter, public :: sublet_err_comm_freed = -81
  integer(c_int), parameter, public :: sublet_err_intercomm = -82
  integer(c_int), parameter, public :: sublet_err_not_initialized = -83
  integer(c_int), parameter, public :: sublet_err_finalized = -84
  integer(c_int), parameter, public :: sublet_err_other_rank = -85
  integer(c_int), parameter, public :: sublet_err_other_mpi = -86
  integer(c_int), parameter, public :: sublet_err_not_cancelled = -87
  integer(c_int), parameter, public :: sublet_err_differ = -88
  integer(c_int), parameter, public :: sublet_err_type = -89
  integer(c_int), parameter, public :: sublet_err_under_way = -90
end module sublet_codes_f08
