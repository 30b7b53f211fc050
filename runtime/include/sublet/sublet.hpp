#pragma once

/// All of Sublet's C++ API for applications:
///
///   auto session = sublet::Session::open().value_or_throw();
///   auto lease = session.lease({.cores = 2}).value_or_throw();
///   auto norm = lease.function<double(Point)>("libshapes.so", "norm").value_or_throw();
///   double length = norm({3, 4}).value_or_throw();
///
/// Function libraries include <sublet/function.hpp> instead; MPI applications <sublet/mpi.hpp>.

#include <sublet/buffer.hpp>
#include <sublet/call.hpp>
#include <sublet/lease.hpp>
#include <sublet/offload.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>
#include <sublet/single_source.hpp>
#include <sublet/status.hpp>
#include <sublet/version.hpp>
